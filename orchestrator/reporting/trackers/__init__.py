"""All trackers: every `Tracker` that a module of this folder defines. A module is named as its tracker."""
