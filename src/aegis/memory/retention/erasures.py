"""x"""
class Erasures:
    def __init__(self, db, *, namespace): pass
