"""What users are promised of every mode, held against whole processes in a lab."""
