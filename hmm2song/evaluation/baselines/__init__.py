"""The source systems, kept to be measured against; the product needs none of them."""
