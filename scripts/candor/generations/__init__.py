"""Text from subject models: engines that continue prompts, how tokens are drawn, and the job around them."""
