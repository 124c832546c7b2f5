"""The search for good hyperparameters: a space, a study of trials, and what is made of them."""
