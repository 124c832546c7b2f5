"""The site of the documentation: pages of docs/, the reference of conf/ and of the package, built by zensical."""
