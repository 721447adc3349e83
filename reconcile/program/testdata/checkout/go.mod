module bakehouse

go 1.26.0
