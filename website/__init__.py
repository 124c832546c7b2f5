"""The documentation site: pages of docs/ and the reference of conf/ and of the package, built by zensical."""
