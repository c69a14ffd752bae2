"""What can be learnt from runs without running anything: reads run directories, starts no MPI, knows nothing of torch."""
