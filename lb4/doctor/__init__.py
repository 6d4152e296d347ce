"""What on a host would break balancing: findings from facts. Pure but for reading other tables' hooks."""
