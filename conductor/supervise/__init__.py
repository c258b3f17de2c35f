"""`conductor supervise`: keeps the wanted number of healthy replicas of every service running."""
