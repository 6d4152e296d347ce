"""The lab: a client, a balancer and three servers as network namespaces, for the demo, the tests and the bench.

The rule: nothing here touches the network of the namespace it is started from.
"""
