"""What programs read: one file for each JSON document, its pydantic models beside what fills them.

The JSON Schemas that ``reconciler schema`` prints are derived from these models. Only callers that print JSON
import these files, because building the models takes time.
"""
