"""The definitions file from a central store: etcd, Consul or ZooKeeper."""
