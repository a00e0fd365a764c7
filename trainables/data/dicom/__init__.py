"""DICOM files: what their headers say, and their pixels as a person sees them."""
