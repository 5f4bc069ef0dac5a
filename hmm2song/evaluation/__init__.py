"""What the product is measured with, and the source systems that it is measured against."""
