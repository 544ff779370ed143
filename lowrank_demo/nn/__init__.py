"""The networks in torch: AlexNet, dense and low-rank; weight files; the forms used for inference."""
