# SPDX-License-Identifier: Apache-2.0
"""Word problems for the maths section: the table that `arithmetic` draws from."""

from harness.tasks.minipref.arithmetic import Kind

NAMES = ("Amara", "Bilal", "Chloe", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas")
GOODS = ("lamp", "jacket", "tent", "printer", "backpack", "kettle", "guitar", "desk")
SNACKS = ("muffins", "notebooks", "stickers", "pens", "apples", "magnets")

STORIES = (
    Kind(
        "discount",
        (
            "A {item} costs {price} dollars and is sold at {rate}% off. What is the sale price?",
            "The price of a {item} is {price} dollars. It is cut by {rate}%. What is it now?",
        ),
        {"item": GOODS, "price": range(40, 400, 20), "rate": range(10, 45, 5)},
        (
            ("cut", "price * rate / 100", "The discount is {} dollars."),
            ("t", "price - cut", "That leaves {} dollars."),
        ),
        ({"t": "price + cut"}, {"cut": "", "t": "price - rate"}),
    ),
    Kind(
        "tip",
        (
            "A meal costs {price} dollars and {name} adds a tip of {rate}%. What is the total?",
            "The bill is {price} dollars. {name} leaves {rate}% on top. How much is paid in all?",
        ),
        {"name": NAMES, "price": range(20, 120, 4), "rate": range(5, 30, 5)},
        (
            ("tip", "price * rate / 100", "The tip is {} dollars."),
            ("t", "price + tip", "The total is {} dollars."),
        ),
        ({"tip": "", "t": "price + rate"}, {"tip": "price / rate"}),
    ),
    Kind(
        "change",
        (
            "{name} pays for {n} {item} at {price} dollars each with {note} dollars. "
            "How much change is due?",
            "{name} buys {n} {item}, {price} dollars apiece, and hands over {note} dollars. "
            "What comes back?",
        ),
        {"name": NAMES, "n": range(3, 12), "item": SNACKS, "price": range(2, 9), "note": (50, 100)},
        (
            ("cost", "n * price", "The {item} cost {} dollars."),
            ("t", "note - cost", "The change is {} dollars."),
        ),
        ({"cost": "n + price"}, {"cost": "", "t": "note - price"}),
    ),
    Kind(
        "distance",
        (
            "A bus drives {a} hours at {v1} km/h and then {b} hours at {v2} km/h. "
            "How many kilometres does it cover?",
            "{name} cycles {a} hours at {v1} km/h, then {b} hours at {v2} km/h. "
            "How far is that in km?",
        ),
        {
            "a": range(2, 6),
            "v1": range(12, 40),
            "b": range(2, 5),
            "v2": range(10, 30),
            "name": NAMES,
        },
        (
            ("p", "a * v1", "The first part is {} km."),
            ("q", "b * v2", "The second part is {} km."),
            ("t", "p + q", "Altogether it is {} km."),
        ),
        ({"q": "a * v2"}, {"t": "p - q"}),
        where="a != b and v1 != v2",
    ),
    Kind(
        "clock",
        (
            "A train leaves at {h1}:{m1} and arrives at {h2}:{m2} the same morning. "
            "How many minutes does it take?",
            "{name} sleeps from {h1}:{m1} to {h2}:{m2} one morning. How many minutes is that?",
        ),
        {
            "h1": range(5, 8),
            "m1": range(10, 30, 5),
            "h2": range(8, 12),
            "m2": range(35, 60, 5),
            "name": NAMES,
        },
        (
            ("h", "(h2 - h1) * 60", "The full hours make {} minutes."),
            ("m", "m2 - m1", "The rest is {} minutes."),
            ("t", "h + m", "The total is {} minutes."),
        ),
        ({"h": "(h2 - h1) * 100"}, {"m": "m2 + m1"}),
    ),
    Kind(
        "pieces",
        (
            "A rope of {m} metres is cut into pieces of {c} cm. How many pieces are there?",
            "How many strips of {c} cm can be cut from {m} metres of ribbon?",
        ),
        {"m": range(3, 30), "c": (12, 15, 20, 25, 30, 40, 50)},
        (("cm", "m * 100", "The length in cm is {}."), ("t", "cm / c", "The number is {}.")),
        ({"cm": "m * 10"}, {"cm": "m * 1000"}),
        where="m * 100 % c == 0",
    ),
    Kind(
        "sharing",
        (
            "{name} has {n} {item}, gives away {g} and splits the rest evenly among {k} friends. "
            "How many does each friend get?",
            "Of {n} {item}, {g} are lost. {k} children share what remains. How many each?",
        ),
        {
            "name": NAMES,
            "n": range(40, 150),
            "item": SNACKS,
            "g": range(5, 30),
            "k": range(3, 10),
        },
        (("left", "n - g", "There remain {}."), ("t", "left / k", "Each gets {}.")),
        ({"left": "n + g"}, {"left": "", "t": "n / k"}),
        where="(n - g) % k == 0",
    ),
    Kind(
        "legs",
        (
            "A farm has {a} hens and {b} sheep. How many legs do they have in all?",
            "{a} ducks and {b} goats stand in a field. How many legs is that?",
        ),
        {"a": range(6, 40), "b": range(6, 40)},
        (
            ("p", "a * 2", "The birds have {} legs."),
            ("q", "b * 4", "The others have {} legs."),
            ("t", "p + q", "In all there are {} legs."),
        ),
        ({"p": "a * 4", "q": "b * 2"}, {"q": "b * 2"}),
    ),
    Kind(
        "heads_and_legs",
        (
            "Hens and rabbits have {heads} heads and {legs} legs together. "
            "How many rabbits are there?",
            "In a barn there are {heads} geese and cows with {legs} legs in all. "
            "How many of them are cows?",
        ),
        {"hens": range(5, 30), "big": range(4, 20)},
        (
            ("p", "heads * 2", "With two legs each there would be {} legs."),
            ("q", "legs - p", "That is too few by {}."),
            ("t", "q / 2", "Each four-legged animal adds two, so there are {}."),
        ),
        ({"t": "q / 4"}, {"t": ""}),
        given=(("heads", "hens + big"), ("legs", "hens * 2 + big * 4")),
    ),
    Kind(
        "overtime",
        (
            "{name} earns {r} dollars an hour and works {h} hours, plus {o} extra hours "
            "at double pay. What is the total pay?",
            "The wage is {r} dollars an hour. {name} works {h} normal hours and {o} hours "
            "at twice the wage. How much is earned?",
        ),
        {"name": NAMES, "r": range(11, 30), "h": range(20, 41), "o": range(2, 9)},
        (
            ("p", "r * h", "Normal hours bring {} dollars."),
            ("q", "r * 2 * o", "Extra hours bring {} dollars."),
            ("t", "p + q", "The total is {} dollars."),
        ),
        ({"q": "r * o"}, {"q": "h * 2 * o"}),
    ),
    Kind(
        "savings",
        (
            "{name} has {s} dollars, saves {w} dollars a week and wants a {item} for {g} dollars. "
            "How many weeks does it take?",
            "Starting with {s} dollars and putting aside {w} dollars a week, after how many weeks "
            "can {name} pay {g} dollars for a {item}?",
        ),
        {"name": NAMES, "item": GOODS, "s": range(20, 90), "w": range(5, 25), "n": range(4, 20)},
        (("gap", "g - s", "The missing amount is {}."), ("t", "gap / w", "That takes {} weeks.")),
        ({"gap": "", "t": "g / w"}, {"gap": "g + s"}),
        given=(("g", "s + w * n"),),
    ),
    Kind(
        "age",
        (
            "{name} is {a} years old. In {b} years {name} will be {k} times as old as Ben is now. "
            "How old is Ben?",
            "In {b} years {name}, now {a}, will be {k} times the present age of Ben. "
            "What is that age?",
        ),
        {"name": NAMES, "a": range(11, 50), "b": range(3, 15), "k": range(2, 6)},
        (("later", "a + b", "{name} will be {}."), ("t", "later / k", "Ben is {}.")),
        ({"later": "a - b"}, {"t": "later * k"}, {"later": "", "t": "a / k"}),
        where="(a + b) % k == 0",
    ),
    Kind(
        "mixture",
        (
            "Paint is mixed from {a} parts blue and {b} parts white. How many litres of blue are "
            "in {n} litres?",
            "A drink takes {a} parts juice to {b} parts water. How much juice is in {n} litres "
            "of it?",
        ),
        {"a": range(2, 7), "b": range(2, 8), "k": range(2, 9)},
        (
            ("s", "a + b", "The parts add up to {}."),
            ("one", "n / s", "One part is {} litres."),
            ("t", "one * a", "So it takes {} litres."),
        ),
        ({"t": "one * b"}, {"s": "", "one": "n / b"}),
        given=(("n", "(a + b) * k"),),
        where="a != b",
    ),
    Kind(
        "before_discount",
        (
            "After a discount of {rate}% a {item} costs {paid} dollars. What did it cost before?",
            "At {rate}% off, {name} pays {paid} dollars for a {item}. What was the full price?",
        ),
        {"item": GOODS, "name": NAMES, "rate": (10, 20, 25, 40, 50), "full": range(40, 400, 20)},
        (
            ("left", "100 - rate", "The price paid is {} percent."),
            ("one", "paid / left", "One percent is {} dollars."),
            ("t", "one * 100", "The full price is {} dollars."),
        ),
        ({"left": "100 + rate"}, {"left": "", "one": "paid / 100", "t": "paid + one * rate"}),
        given=(("paid", "full * (100 - rate) / 100"),),
    ),
    Kind(
        "machines",
        (
            "{a} machines make {n} toys in an hour. How many toys do {b} machines make "
            "in {h} hours?",
            "In one hour {a} ovens bake {n} loaves. How many loaves come from {b} ovens "
            "in {h} hours?",
        ),
        {"a": range(3, 9), "k": range(6, 25), "b": range(4, 15), "h": range(2, 7)},
        (
            ("one", "n / a", "One alone makes {} an hour."),
            ("all_", "one * b", "All of them make {} an hour."),
            ("t", "all_ * h", "In the given time that is {}."),
        ),
        ({"t": ""}, {"one": "", "all_": "n * b"}),
        given=(("n", "a * k"),),
        where="a != b",
    ),
    Kind(
        "probability",
        (
            "A bag holds {r} red and {b} blue marbles. What is the probability of drawing red, "
            "as a fraction?",
            "There are {r} winning tickets and {b} blanks. What is the chance of a win, "
            "as a fraction?",
        ),
        {"r": range(2, 15), "b": range(9, 30)},
        (("s", "r + b", "The total is {}."), ("t", "r / s", "The share is {v}.")),
        ({"s": "", "t": "r / b"}, {"t": "b / s"}),
        where="r < b",
        fractions=True,
    ),
    Kind(
        "doubling",
        (
            "A colony of {a} cells doubles every hour. How many cells are there after {n} hours?",
            "{a} bacteria double in number each hour. How many are there {n} hours later?",
        ),
        {"a": range(3, 30), "n": range(3, 8)},
        (("f", "2 ** n", "The factor is {}."), ("t", "a * f", "That makes {}.")),
        ({"f": "2 * n"}, {"t": "a + f"}),
    ),
    Kind(
        "interest",
        (
            "{name} lends {p} dollars at {rate}% simple interest a year. What is owed "
            "after {y} years?",
            "An account of {p} dollars earns {rate}% of that sum each year. What is in it "
            "after {y} years?",
        ),
        {"name": NAMES, "p": range(200, 2000, 100), "rate": range(2, 9), "y": range(2, 7)},
        (
            ("i", "p * rate / 100", "The interest for one year is {}."),
            ("all_", "i * y", "Over the whole time it is {}."),
            ("t", "p + all_", "The total is {}."),
        ),
        ({"all_": "", "t": "p + i"}, {"t": ""}),
    ),
    Kind(
        "commute",
        (
            "{name} lives {d} km from work and drives there and back {n} days a week. "
            "How many km is that in {w} weeks?",
            "School is {d} km away. {name} cycles both ways on {n} days a week. "
            "How many km add up in {w} weeks?",
        ),
        {"name": NAMES, "d": range(3, 25), "n": range(3, 6), "w": range(2, 9)},
        (
            ("day", "d * 2", "One day is {} km."),
            ("week", "day * n", "One week is {} km."),
            ("t", "week * w", "In total it is {} km."),
        ),
        ({"day": "", "week": "d * n"}, {"t": ""}, {"week": "day * 7"}),
    ),
    Kind(
        "fence",
        (
            "A garden is {a} m long and {b} m wide. A fence runs around it, except for a gate "
            "of {g} m. How long is the fence?",
            "{name} frames a {a} m by {b} m field with rope and leaves an opening of {g} m. "
            "How much rope is that in metres?",
        ),
        {"name": NAMES, "a": range(10, 60), "b": range(6, 40), "g": range(2, 6)},
        (
            ("p", "(a + b) * 2", "All the way round it is {} m."),
            ("t", "p - g", "Without the gap it is {} m."),
        ),
        ({"p": "a * b"}, {"p": "a + b"}, {"t": "p + g"}),
        where="a > b",
    ),
    Kind(
        "triangle",
        (
            "Two angles of a triangle are {a} and {b} degrees. How large is the third?",
            "A triangle has angles of {a} and {b} degrees. Find the remaining angle.",
        ),
        {"a": range(25, 85), "b": range(25, 85)},
        (
            ("s", "a + b", "Together they are {} degrees."),
            ("t", "180 - s", "The third is {} degrees."),
        ),
        ({"t": "360 - s"}, {"t": "s - 90"}),
        where="a + b > 95",
    ),
)
