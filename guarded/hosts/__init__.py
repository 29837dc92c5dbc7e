"""What guarded knows of each host: data in its TOML file, and here and there a function that the data name."""
