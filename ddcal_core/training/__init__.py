"""Training networks: losses, augmentation, masks, herded subsets."""
