# Hosts are deployed in this order.
server "web1.example.com", user: "deploy", roles: %w[app]
server "web2.example.com", user: "deploy", roles: %w[app]
server "web3.example.com", user: "deploy", roles: %w[app cron] # cron jobs run on one host only
