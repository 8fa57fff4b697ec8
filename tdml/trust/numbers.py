"""Every number that judges, each with its reason. There are no others in `tdml.trust`."""

# The work test (`tdml.trust.work`).
ALPHA = 0.01  # chance that an update that knows nothing of its samples is seen working in a round
LEAST_LOSS = 0.01  # nats, from which on losses are compared by ratios: below, much is rounding
MOST_SAMPLES = 1024  # of a candidate's own: 256 see ResNet-18 on CIFAR-10 in 2 rounds of 3
# of fewer the test sees one honest replica in six after ten steps: audits are better value
FEWEST_SAMPLES = 128

# The screen (`tdml.trust.screen`).
# widths of the majority: beyond, honest updates on like shares lie in 1 to 5 of 100 rounds
LIMIT = 4.0
LEAST_REPLICAS = 3  # of fewer, ranking says nothing
# of fewer, ranks are chance: 17 signs of Adam's first step are another's in a tenth, 65 in none
LEAST_RANKED = 100
FLOOR = 0.05  # least width of a feature: many replicas agree by chance to less
ROUNDING = 1e-12  # what is smaller is nothing; squares that differ by less of themselves are equal
FLOOR_OF_SIZE = 0.1  # the same for logarithms of sizes, which the order of batches moves

# Suspicion (`tdml.trust.suspicion`).
# of the screen beside the work test, which an attacker cannot satisfy by hiding in the middle
SCREEN_WEIGHT = 0.5
RANDOM_SHARE = 0.5  # of the budget, whoever is suspected: who looks honest may not be
# chance that the coordinator takes a step of a window found clean: replica and validator may be in
# league
LOOK = 0.1

# times that the coordinator takes each step again that a ban rests on: where code differs from
# itself in one step of four, that is missed once in a hundred
AGAIN = 16
# steps before the disputed one that it takes as often, for one may hide what another shows. Where
# there are fewer it takes the disputed one for them, too: code may change after so many calls
STEPS_BEFORE = 3

# What an update counts (`tdml.trust.judgement`).
# times the median size, of who was seen working or found clean. Where most samples are learnt, hard
# ones lead 2 to 4 times as far: 2 costs 7 % of honest weight in long rounds, and 3 costs 3 %
LARGEST = 3.0
TYPICAL = 1.5  # the same of who was not: in short rounds one honest update in a hundred is larger
WITHHELD = 0.02  # of honest updates' weight, for not being seen working, however seldom that is

# A step that two kinds of machines take (`tdml.trust.tolerance`).
# times the median error of single steps found so far; between that and as many times more, machines
# may be honest, and nobody is convicted
ERRORS = 8.0
# relative: beyond, machines may differ only where rounding alone leads as far in that very step
MOST_ERROR = 0.01
