"""Numba kernels on plain arrays: the only room that imports numba, and only when a kernel is first asked for.

layout   what the columns of the matrices mean that tell a kernel what to do
compile  how functions are compiled and kept on disk
launch   one kernel at a time, on several threads
threads  the threads, and `spin`, how they tell each other
memory   arrays at addresses
room     memory in large pages, and used again
rows     ids → rows → vectors
sums     gradients of vectors → sums of gradients by row
updates  what an optimizer does to rows that have a gradient
dot      a whole epoch of a dot model
reading  lookups of tables that nothing trains
chunks   their inner loops, in registers
"""
