"""PPE Preference: which of two answers people on Chatbot Arena preferred."""
