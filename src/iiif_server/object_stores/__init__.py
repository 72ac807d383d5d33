"""Object stores: settings of buckets, and clients for S3, Google Cloud Storage and Azure."""
