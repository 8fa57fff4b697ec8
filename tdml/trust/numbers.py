"""Every number that judges, each with its reason. There are no others in `tdml.trust`."""

# The work test (`tdml.trust.work`).
ALPHA = 0.01  # chance that an update that knows nothing of its samples is seen working in a round
LEAST_LOSS = 0.01  # nats: losses above are compared by their ratios; below, much is rounding
MOST_SAMPLES = 1024  # own samples of a candidate: 256 see ResNet-18 on CIFAR-10 in 2 rounds of 3
# with fewer, the test sees one honest replica in six after ten steps: audits are better value
FEWEST_SAMPLES = 128

# The screen (`tdml.trust.screen`).
# distance, in widths of the majority: with IID shares some honest update is beyond it in 1 to 5 of
# 100 rounds
LIMIT = 4.0
LEAST_REPLICAS = 3  # with fewer, ranks say nothing
# coordinates: with fewer, ranks are chance. 17 signs of Adam's first step equal another replica's
# in a tenth of cases, 65 in none
LEAST_RANKED = 100
FLOOR = 0.05  # least width of a feature: many replicas agree more closely than that by chance
ROUNDING = 1e-12  # smaller numbers are 0; squares that differ by a smaller share are equal
FLOOR_OF_SIZE = 0.1  # as FLOOR, for logarithms of sizes, which depend on the order of batches

# Suspicion (`tdml.trust.suspicion`).
# of the screen, beside the work test, which an attacker cannot satisfy by hiding in the middle
SCREEN_WEIGHT = 0.5
RANDOM_SHARE = 0.5  # of the budget, spent on windows that chance chooses: nobody is above suspicion
# chance that the coordinator looks at a window found clean: owner and validator may be accomplices
LOOK = 0.1

# how often the coordinator repeats each step that a ban rests on: code that does not repeat itself
# in one step of four is missed once in a hundred times
AGAIN = 16
# steps before the disputed one that it repeats as often, for a step may hide what another shows. If
# there are fewer, it repeats the disputed one instead: code may change after so many calls
STEPS_BEFORE = 3

# What an update counts (`tdml.trust.judgement`).
# times the median size, for updates that were seen working or verified. Where most samples are
# learnt, hard ones lead 2 to 4 times as far: in long rounds 2 costs 7 % of honest weight, 3 3 %
LARGEST = 3.0
TYPICAL = 1.5  # the same for all others: in short rounds one honest update in a hundred is larger
WITHHELD = 0.02  # share of honest updates' weight that is lost for not being seen working

# A step that two kinds of machines take (`tdml.trust.tolerance`).
# times the median error of single steps so far: up to that a step is right. Up to as many times
# that, the machines may be the reason, and nobody is convicted
ERRORS = 8.0
# relative error: beyond, a step is only right if rounding alone leads as far in that very step
MOST_ERROR = 0.01
