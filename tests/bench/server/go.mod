module benchstore

go 1.22
