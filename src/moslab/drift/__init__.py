"""One fault plan, several worlds: is what comes of it the same?"""
