"""The account of a user or an organization: parts that plan limits, slots and credits are decided against."""
