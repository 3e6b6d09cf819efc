"""Numba kernels on plain arrays: the only room that imports numba, and only when a kernel is first asked for.

layout   what the columns of the matrices mean that tell a kernel what to do
compile  how functions are compiled and kept on disk
launch   one kernel at a time, on several threads
openmp   torch's threads; `threads`, our own, where there are none, and `spin`, how they tell each other
share    who does which task
memory   arrays at addresses
pool     memory that is used again
rows     ids → rows
vectors  rows → vectors; `narrow` and `rounded`, those that are stored in fewer bits
sums     gradients of vectors → sums of gradients by row, which `slots` tells apart; `projected`, those of projections;
         `spaces`, where they begin
updates  what an optimizer does to rows that have a gradient
dot      a whole epoch of a dot model
reading  lookups of tables that nothing trains
chunks   their inner loops, in registers
"""
