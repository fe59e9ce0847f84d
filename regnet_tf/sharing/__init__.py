"""Networks shared with others: folders for the Hugging Face hub, which several libraries read."""
