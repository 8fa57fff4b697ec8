"""What people see: the run folder, the terminal, TensorBoard, figures and the report."""
