"""What keeps a training run safe: its files, its folder, its restart."""
