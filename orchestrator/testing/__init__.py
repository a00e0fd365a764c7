"""Public test classes for who adds a metric, a sampler, a pruner, ...: subclass one, and name your own."""
