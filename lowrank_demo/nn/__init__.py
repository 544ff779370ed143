"""The networks in torch: AlexNet dense and low-rank, weight files, and the forms that inference runs."""
