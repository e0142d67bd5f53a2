"""Charts of venues: insurance funds, margins, policies, procedures, who pays."""
