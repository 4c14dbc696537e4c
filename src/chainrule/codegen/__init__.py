"""Takes: kernels and plans. Gives: LLVM IR, and from it machine code of this processor.
The one idea: vectors are explicit, so LLVM only has to allocate registers.
Next room: runtime.
"""
