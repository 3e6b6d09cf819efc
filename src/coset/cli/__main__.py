"""`python -m coset.cli`, where the script `coset` is not installed."""

from coset.cli import main

if __name__ == "__main__":
    main()
