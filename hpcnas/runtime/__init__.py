"""MPI and Horovod: roles, messages, groups. Only here and in the programs may mpi4py be imported: that starts MPI."""
