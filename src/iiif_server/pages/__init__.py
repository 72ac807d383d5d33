"""What people see: pages, their scripts and styles. No framework and no HTTP here."""
