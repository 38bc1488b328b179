"""The locks, and what is asked of the packages in them: licences, reasons, known vulnerabilities."""
