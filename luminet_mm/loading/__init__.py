"""Reading weights, data and configs of others: whole, checked, no code run."""
