"""`python -m benchmarks`: the measurements that take a minute or two.

The longer ones have commands of their own: `python -m benchmarks.demo_seeds --help`.
"""

from benchmarks.stepping import main

if __name__ == "__main__":
    main()
