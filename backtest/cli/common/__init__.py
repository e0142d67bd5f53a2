"""Options, inputs, outputs and tables that commands share."""
