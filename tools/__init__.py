"""What a checkout is worked on with: pages made from code and results, and the benchmark runner."""
