"""Is a verifier complete, and is it sound against the worst message there is?"""
