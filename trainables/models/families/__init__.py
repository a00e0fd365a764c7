"""Families of backbones. Every `Backbone` that a module of this folder defines is in the registry."""
