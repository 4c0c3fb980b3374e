SHAPES=[]
def shapes_side_by_side(*a): return []
