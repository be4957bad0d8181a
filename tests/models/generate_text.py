# SPDX-License-Identifier: MIT
"""Deterministic text generator for the tiny test models.

Writes English and Korean text from a grammar designed for this project; no
third-party text is used.  The text has a wide vocabulary but a strong
structure: characters, towns and things have fixed properties (a small world
that a model has to memorize), stories refer back to what was said earlier,
sums and dates are correct, and Korean particles follow the final consonant of
the word before them.

Only random.Random(seed).random() is used as a source of randomness, which
Python documents as reproducible, so a seed gives the same bytes everywhere.

usage: generate_text.py --seed N --bytes N --out FILE
"""
import argparse
import datetime
import random

WORLD_SEED = 20240229
PEOPLE_COUNT = 192
KO_PEOPLE_COUNT = 114

# ---------------------------------------------------------------- word lists

PEOPLE = [n.split(":") for n in """
Ada:she Boris:he Clara:she Dmitri:he Elsa:she Felix:he Greta:she Hugo:he
Ingrid:she Jonas:he Katya:she Leo:he Mara:she Nils:he Olga:she Pavel:he
Quinn:he Rosa:she Sven:he Tilda:she Ulrich:he Vera:she Walter:he Xenia:she
Yusuf:he Zelda:she Amir:he Bianca:she Cyrus:he Delia:she Emil:he Fatima:she
Gideon:he Hanna:she Ivo:he Juno:she Karl:he Lydia:she Magnus:he Nora:she
Otto:he Petra:she Rafael:he Selma:she Tobias:he Una:she Viktor:he Wilma:she
""".split()]

KO_PEOPLE = """민준 서연 도윤 하은 지호 수아 예준 지우 건우 채원 현우 다은 준서 유진
태민 소영 영철 미경 동현 은지 상훈 보람 재석 가을 한결 새봄 기범 나래 두식 라온 말순 병호
순덕 용길 정란 춘식 필준 해솔 경옥 노을""".split()

FAMILIES = """Abel Birch Crane Dole Ember Frost Grove Hale Irving Jade Kemp
Lowe Marsh Noble Orr Pike Reed Stone Thorne Vale Wells York""".split()
KO_FAMILIES = "김 이 박 최 정 강 조 윤 장 임 한 오".split()

TOWNS = [a + b for b in "by mere fall wick ton haven gate ridge hill moss".split()
         for a in "Alder Brack Crow Dun East Fern Gull Harrow".split()]
KO_TOWNS = [a + b for b in "골 마을 내 밭 재 섬 동 들".split()
            for a in "가람 나루 달빛 물안개 바람 별 솔".split()]

TRADES = """baker blacksmith carpenter clockmaker cook doctor farmer fisherman
gardener glazier judge librarian mason miller miner musician painter pilot
potter sailor shepherd tailor teacher weaver""".split()

KO_TRADES = """선생님 의사 농부 어부 목수 대장장이 요리사 화가 가수 시인 기자 변호사 우체부
소방관 간호사 사진사 도서관장 목동 상인 선장 재단사 약사 기관사 정원사""".split()

PETS = """cat dog parrot goat rabbit horse turtle goose hedgehog owl pony
ferret""".split()
PET_NAMES = """Biscuit Pepper Comet Button Mustard Shadow Clover Pickle Rocket
Waffle Nutmeg Domino Maple Ziggy Tulip Cinder""".split()
KO_PETS = """고양이 강아지 앵무새 염소 토끼 거북이 거위 고슴도치 부엉이 망아지 햄스터 다람쥐""".split()
KO_PET_NAMES = """초코 보리 콩이 구름 나비 까미 달래 몽실 두부 호두 밤톨 솜이 감자 별이 하늘 단풍""".split()

FOODS = """bread soup cheese honey rice pancakes dumplings noodles porridge
stew salad fish pie toast jam pickles""".split()
KO_FOODS = """김밥 떡국 비빔밥 된장찌개 칼국수 만두 잡채 불고기 식혜 호떡 순두부 팥죽 냉면 수제비 파전 인절미""".split()

INSTRUMENTS = "violin flute drum piano trumpet guitar harp cello".split()
KO_INSTRUMENTS = "거문고 피리 장구 피아노 가야금 해금 기타 북".split()

COLOURS = [c.split(":") for c in """red:빨간 blue:파란 green:초록 yellow:노란
white:하얀 black:검은 purple:보라 grey:회색 orange:주황 golden:금빛
silver:은빛 pink:분홍""".split()]

# singular : plural : Korean : emoji
THINGS = [t.split(":") for t in """
lamp:lamps:등불:💡 key:keys:열쇠:🔑 book:books:책:📖 box:boxes:상자:📦
bell:bells:종:🔔 knife:knives:칼:🔪 clock:clocks:시계:⏰ letter:letters:편지:✉
ring:rings:반지:💍 map:maps:지도:🗺 coin:coins:동전:🪙 hat:hats:모자:🎩
cup:cups:컵:☕ basket:baskets:바구니:🧺 mirror:mirrors:거울:🪞 candle:candles:촛불:🕯
umbrella:umbrellas:우산:☂ rope:ropes:밧줄:🪢 hammer:hammers:망치:🔨 brush:brushes:붓:🖌
spoon:spoons:숟가락:🥄 bottle:bottles:병:🍾 scarf:scarves:목도리:🧣 glove:gloves:장갑:🧤
drum:drums:북:🥁 kite:kites:연:🪁 flag:flags:깃발:🚩 compass:compasses:나침반:🧭
pencil:pencils:연필:✏ chair:chairs:의자:🪑 ladder:ladders:사다리:🪜 stone:stones:돌:🪨
feather:feathers:깃털:🪶 ticket:tickets:표:🎫 camera:cameras:사진기:📷 radio:radios:라디오:📻
needle:needles:바늘:🪡 doll:dolls:인형:🪆 shell:shells:조개:🐚 bucket:buckets:양동이:🪣
""".split()]

FRUIT = [t.split(":") for t in """
apple:apples:사과:🍎 pear:pears:배:🍐 peach:peaches:복숭아:🍑 lemon:lemons:레몬:🍋
cherry:cherries:체리:🍒 melon:melons:참외:🍈 plum:plums:자두:🟣 grape:grapes:포도:🍇
onion:onions:양파:🧅 carrot:carrots:당근:🥕 potato:potatoes:감자:🥔 tomato:tomatoes:토마토:🍅
egg:eggs:달걀:🥚 mushroom:mushrooms:버섯:🍄 pepper:peppers:고추:🌶 chestnut:chestnuts:밤:🌰
""".split()]

MATERIALS = "wood iron brass glass clay silk paper copper stone leather".split()
ADJECTIVES = """old small heavy broken shiny dusty precious strange tiny
beautiful plain worn curious fragile polished crooked cheap cracked dented
elegant faded rusty sticky slender smooth rough hollow narrow painted wet
cold soft stolen borrowed forgotten crumpled""".split()
KO_ADJECTIVES = """낡은 작은 무거운 부서진 빛나는 귀한 이상한 아름다운 가벼운 오래된 얇은 둥근
차가운 부드러운 젖은 잃어버린 비싼 깨끗한 더러운 단단한""".split()

PLACES = [x.split(":") for x in """
under the bridge:다리 밑
behind the mill:방앗간 뒤
in the attic:다락방 안
beside the well:우물 옆
inside the old oak:참나무 속
on the top shelf:선반 위
near the harbour:항구 근처
in the cellar:지하실 안
under the bed:침대 밑
behind the curtain:커튼 뒤
in the garden shed:헛간 안
on the window sill:창가 위
beneath the stairs:계단 아래
in the bell tower:종탑 안
by the fountain:분수 옆
behind the bakery:빵집 뒤
in the empty barn:외양간 안
near the lighthouse:등대 근처
under the stone table:돌탁자 밑
in the blue chest:궤짝 속
""".strip().split("\n")]

WEATHER = [w.split(":") for w in """sunny:맑음:☀ rainy:비:🌧 cloudy:흐림:☁ windy:바람:💨
snowy:눈:❄ foggy:안개:🌫 stormy:폭풍:⛈ mild:온화:🌤""".split()]

MOODS = [m.split(":") for m in """happy:😀 sad:😢 angry:😠 tired:😴 surprised:😮 proud:😎
worried:😟 hungry:😋""".split()]

VIRTUES = """patience courage honesty kindness silence wisdom laughter hope
friendship curiosity trust memory""".split()
NATURE = """river mountain forest wind moon winter harvest shadow seed storm
garden road""".split()

MONTHS = """January February March April May June July August September
October November December""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
KO_DAYS = "월 화 수 목 금 토 일".split()
ONES = """zero one two three four five six seven eight nine ten eleven twelve
thirteen fourteen fifteen sixteen seventeen eighteen nineteen""".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ORD = """first second third fourth fifth sixth""".split()
KO_COUNT = "영 한 두 세 네 다섯 여섯 일곱 여덟 아홉 열".split()
KO_COUNT_N = "영 하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열".split()

VERBS = [v.split(":") for v in """carried:carry painted:paint repaired:repair
washed:wash borrowed:borrow polished:polish measured:measure wrapped:wrap
counted:count admired:admire dropped:drop examined:examine""".split()]
MANNERS = """slowly carefully quickly quietly happily bravely nervously
patiently proudly gently""".split()
KO_MANNERS = "천천히 조심스럽게 빨리 조용히 기쁘게 씩씩하게 가만히 열심히 부드럽게 몰래".split()

# past : plain connective
KO_VERBS = [v.split(":") for v in """닦았다:닦고 고쳤다:고치고 씻었다:씻고 빌렸다:빌리고
세었다:세고 잃어버렸다:잃어버리고 찾았다:찾고 옮겼다:옮기고 감쌌다:감싸고 칠했다:칠하고
살펴보았다:살펴보고 들었다:들고""".split()]

WHO = """the clouds;two crows;the children;a cold wind;nobody;the miller's geese;an old dog;
the bees;three soldiers;the stars;a grey horse;the bells;some travellers;a young fox;the leaves;
a tall stranger;the frogs;her neighbours;the boats;every candle""".replace("\n", "").split(";")
DID = """waited;sang;slept;moved slowly;turned around;shone;disappeared;danced;stood still;
made a noise;laughed;fell down;came closer;stopped;trembled;rested""".replace("\n", "").split(";")
WHERE = """over the roofs;by the river;in the square;near the market;above the flowers;on the hills;
far away;behind the fence;along the road;in the snow;under the moon;outside;between the trees;
at the gate;across the field;in the rain""".replace("\n", "").split(";")
WHEN = """in the evening;all night;at seven;since the morning;for a while;again;before dawn;
on that day;at noon;once more;without a sound;for an hour""".replace("\n", "").split(";")

KO_WHO = """구름 까마귀 아이들 찬바람 거위 송아지 벌들 병사들 별 말 종소리 나그네 여우 나뭇잎 개구리
이웃들 배 기차 눈 노래""".split()
KO_DID = """기다렸다 노래했다 잠들었다 움직였다 돌아섰다 반짝였다 사라졌다 춤추었다 멈추었다 웃었다
넘어졌다 다가왔다 떨었다 쉬었다 보였다 들렸다""".split()
KO_WHERE = """지붕 위에서;강가에서;마당에서;시장 근처에서;꽃 위에서;언덕에서;멀리서;울타리 뒤에서;
길을 따라;눈 속에서;달 아래에서;밖에서;나무 사이에서;문 앞에서;들판에서;빗속에서""".replace("\n", "").split(";")
KO_WHEN = """저녁에 밤새 아침부터 한동안 다시 새벽에 그날 한낮에 또 조용히 오래 갑자기""".split()

# ------------------------------------------------------------------- helpers


def final(word):
    """Index of the final consonant of the last letter (0: none, 8: rieul)."""
    c = word[-1]
    if "가" <= c <= "힣":
        return (ord(c) - 0xAC00) % 28
    if c.isdigit():
        if c != "0":
            return {"1": 8, "3": 16, "6": 1, "7": 8, "8": 8}.get(c, 0)
        zeros = len(word) - len(word.rstrip("0"))
        return 21 if zeros == len(word) else {1: 17, 2: 1, 3: 4}.get(zeros, 4)
    return 0


def p(word, pair):
    """Attach the right particle of a pair such as 은/는 to a word."""
    closed, open_ = pair.split("/")
    f = final(word)
    if closed == "으로" and f == 8:
        f = 0
    return word + (closed if f else open_)


def number(n):
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    rest = " and " + number(n % 100) if n % 100 else ""
    return ONES[n // 100] + " hundred" + rest


def an(phrase):
    vowel = phrase[0] in "aeiou" and not phrase.startswith("uni")
    return ("an " if vowel else "a ") + phrase


def cap(s):
    return s[0].upper() + s[1:]


def listing(items, word="and"):
    if len(items) == 1:
        return items[0]
    return ", ".join(items[:-1]) + " " + word + " " + items[-1]


class Source:
    """Choices drawn from random() alone."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def below(self, n):
        return int(self.random() * n)

    def range(self, a, b):
        return a + self.below(b - a + 1)

    def pick(self, seq):
        return seq[self.below(len(seq))]

    def skewed(self, seq):
        """Early items more often than late ones."""
        u = self.random()
        return seq[int(u * u * len(seq))]

    def chance(self, x):
        return self.random() < x

    def some(self, seq, n):
        pool = list(seq)
        return [pool.pop(self.below(len(pool))) for _ in range(n)]


def filler(s):
    where = " " + s.pick(WHERE) if s.chance(.7) else ""
    when = " " + s.pick(WHEN) if s.chance(.6) else ""
    return f"{cap(s.pick(WHO))} {s.pick(DID)}{where}{when}."


def ko_filler(s):
    when = s.pick(KO_WHEN) + " " if s.chance(.6) else ""
    where = s.pick(KO_WHERE) + " " if s.chance(.7) else ""
    return f"{when}{p(s.pick(KO_WHO), '이/가')} {where}{s.pick(KO_DID)}."


def build_world():
    """Fixed properties of every person, town and thing."""
    s = Source(WORLD_SEED)
    people, ko = {}, {}
    for i in range(PEOPLE_COUNT):
        first, he = PEOPLE[i % len(PEOPLE)]
        full = first + " " + s.pick(FAMILIES)
        while full in people:
            full = first + " " + s.pick(FAMILIES)
        people[full] = dict(
            name=first, full=full, he=he, his={"he": "his", "she": "her"}[he],
            him={"he": "him", "she": "her"}[he], trade=s.pick(TRADES),
            town=s.pick(TOWNS), pet=s.pick(PETS), pet_name=s.pick(PET_NAMES),
            food=s.pick(FOODS), plays=s.pick(INSTRUMENTS),
            colour=s.pick(COLOURS)[0], month=s.pick(MONTHS), day=s.range(1, 28),
            year=s.range(1930, 1999), house=s.range(2, 199))
    for a in people.values():
        a["friend"] = s.pick([k for k, b in people.items() if b["name"] != a["name"]])
    for i in range(KO_PEOPLE_COUNT):
        given = KO_PEOPLE[i % len(KO_PEOPLE)]
        full = s.pick(KO_FAMILIES) + given
        while full in ko:
            full = s.pick(KO_FAMILIES) + given
        ko[full] = dict(
            name=given, full=full, trade=s.pick(KO_TRADES), town=s.pick(KO_TOWNS),
            pet=s.pick(KO_PETS), pet_name=s.pick(KO_PET_NAMES),
            food=s.pick(KO_FOODS), plays=s.pick(KO_INSTRUMENTS),
            month=s.range(1, 12), day=s.range(1, 28), year=s.range(1930, 1999),
            floor=s.range(1, 20))
    for a in ko.values():
        a["friend"] = s.pick([k for k, b in ko.items() if b["name"] != a["name"]])
    towns = {}
    for name in TOWNS:
        towns[name] = dict(
            river=s.pick(["Ard", "Bel", "Cor", "Dov", "Est", "Fal", "Gar", "Hest", "Ister", "Kell", "Lor", "Mess"]) +
            s.pick(["en", "ow", "ell", "ick", "a", "ine", "oor", "und"]),
            year=s.range(800, 1899), bells=s.range(2, 19), mayor=s.pick(list(people)),
            near=s.some([t for t in TOWNS if t != name], 2),
            miles=[s.range(3, 90), s.range(3, 90)], made=s.pick(THINGS)[1])
    ko_towns = {}
    for name in KO_TOWNS:
        ko_towns[name] = dict(
            near=s.pick([t for t in KO_TOWNS if t != name]), km=s.range(3, 90),
            head=s.pick(list(ko)), made=s.pick(THINGS)[2], homes=s.range(20, 900))
    things = {}
    for t in THINGS + FRUIT:
        things[t[0]] = dict(price=s.range(2, 98), won=s.range(3, 98) * 100,
                            material=s.pick(MATERIALS), shelf=s.pick("ABCDEFGH"),
                            code=s.range(100, 999))
    return people, ko, towns, ko_towns, things


P, K, T, KT, W = build_world()
NAMES, KO_NAMES = list(P), list(K)

# ------------------------------------------------------------ English pieces


def person(s):
    return P[s.skewed(NAMES)]


def thing_phrase(s, thing):
    colour = s.pick(COLOURS)[0]
    adjective = s.pick(ADJECTIVES)
    return colour, f"{adjective} {colour} {thing[0]}"


def story(s):
    h = person(s)
    f = P[h["friend"]]
    thing = s.pick(THINGS)
    colour, phrase = thing_phrase(s, thing)
    place = s.pick(PLACES)[0]
    goal = s.pick(TOWNS)
    n = s.range(2, 12)
    out = [s.pick([
        f"{h['full']} was a {h['trade']} from {h['town']}.",
        f"In {h['town']} there lived a {h['trade']} whose name was {h['full']}.",
        f"Once upon a time, {h['full']} the {h['trade']} lived in {h['town']}."])]
    out.append(s.pick([
        f"One {s.pick(DAYS)}, {h['he']} found {an(phrase)} {place}.",
        f"One day {h['he']} bought {an(phrase)} and hid it {place}.",
        f"{cap(h['he'])} kept {an(phrase)} {place}."]))
    if s.chance(.6):
        out.append(filler(s))
    out.append(s.pick([
        f"{h['name']} and {h['his']} {h['pet']} {h['pet_name']} walked to {goal}, and it took them {number(n)} days.",
        f"{cap(h['he'])} left {h['town']} with {h['pet_name']} the {h['pet']} and travelled {number(n)} days to {goal}.",
        f"After {number(n)} days on the road {h['name']} came to {goal}, with {h['pet_name']} the {h['pet']} behind {h['him']}."]))
    if s.chance(.5):
        out.append(filler(s))
    out.append(s.pick([
        f"In {goal} {h['he']} met {f['full']}, a {f['trade']} from {f['town']}.",
        f"There {h['he']} visited {h['his']} friend {f['full']} the {f['trade']}."]))
    out.append(s.pick([
        f"\"What have you lost?\" asked {f['name']}. \"My {colour} {thing[0]},\" said {h['name']}. \"It is still {place}.\"",
        f"\"Where is the {thing[0]}?\" asked {f['name']}. \"It is {place},\" {h['he']} answered.",
        f"{f['name']} asked about the {colour} {thing[0]}, and {h['name']} told {f['him']} that it was {place}."]))
    if s.chance(.5):
        out.append(filler(s))
    verb = s.pick(VERBS)
    out.append(s.pick([
        f"They went back together, and for {number(n)} days {f['name']} talked about {s.pick(VIRTUES)}.",
        f"So {h['name']}, {f['name']} and {h['pet_name']} returned to {h['town']}, again {number(n)} days.",
        f"{f['name']} cooked {f['food']}, " + ("and both ate a lot of it." if f["food"] == h["food"] else
                                               f"but {h['name']} wanted only {h['food']}.")]))
    out.append(s.pick([
        f"At last {h['he']} {verb[0]} the {phrase} {s.pick(MANNERS)}, and {h['pet_name']} was {s.pick(MOODS)[0]}.",
        f"The {thing[0]} was still {place}, as {colour} as ever.",
        f"In the end {h['name']} gave the {phrase} to {f['name']}."]))
    return " ".join(out)


def wrap_dialogue(s, lines):
    return "\n".join(f"{a}: {b}" for a, b in lines)


def fact_en(s, h):
    """One question and its answer about a person."""
    nm, he, his = h["full"], h["he"], h["his"]
    return s.pick([
        (f"Where does {nm} live?", f"{cap(he)} lives in {h['town']}, at number {h['house']}."),
        (f"What is {nm}'s trade?", f"{cap(he)} is a {h['trade']}."),
        (f"Which animal does {nm} have?", f"{cap(an(h['pet']))} called {h['pet_name']}."),
        (f"When was {nm} born?", f"On {h['day']} {h['month']} {h['year']}."),
        (f"What does {nm} like to eat?", f"{cap(his)} favourite food is {h['food']}."),
        (f"Who is {nm}'s best friend?", f"{cap(his)} best friend is {h['friend']}."),
        (f"Does {nm} play an instrument?", f"Yes, {he} plays the {h['plays']}."),
        (f"Which colour does {nm} like?", f"{cap(he)} likes {h['colour']}."),
    ])


def dialogue(s):
    a, b = (x[0] for x in s.some(PEOPLE, 2))
    lines = [(a, s.pick([f"Good morning, {b}!", f"Hello, {b}. How are you?", f"{b}, may I ask you something?"])),
             (b, s.pick([f"Hello, {a}!", f"I am {s.pick(MOODS)[0]} today, {a}.", f"Of course, {a}."]))]
    h = person(s)
    for _ in range(s.range(1, 3)):
        q, ans = fact_en(s, h)
        lines += [(a, q), (b, ans)]
        if s.chance(.3):
            h = person(s)
    lines.append((a, s.pick([f"Thank you, {b}.", "I did not know that.", f"Goodbye, {b}!"])))
    return wrap_dialogue(s, lines)


def arithmetic(s):
    out = []
    kind = s.below(5)
    for _ in range(s.range(3, 6)):
        a, b = s.range(2, 60), s.range(2, 39)
        if kind == 0:
            out.append(f"{a} + {b} = {a + b}")
        elif kind == 1:
            out.append(f"{a + b} - {b} = {a}")
        elif kind == 2:
            a, b = s.range(2, 12), s.range(2, 12)
            out.append(f"{a} x {b} = {a * b}")
        elif kind == 3:
            out.append(f"{cap(number(a))} plus {number(b)} is {number(a + b)}.")
        else:
            c = s.range(1, 9)
            out.append(f"{a} + {b} + {c} = {a + b} + {c} = {a + b + c}")
    return "\n".join(out)


def word_problem(s):
    h, f = person(s), person(s)
    t = s.pick(FRUIT + THINGS)
    a, b = s.range(3, 40), s.range(2, 30)
    if s.chance(.5):
        return (f"{h['name']} has {a} {t[1]}. {f['name']} brings {b} more. Now there are "
                f"{a} + {b} = {a + b} {t[1]}. {t[3]}")
    c = s.range(2, a)
    return (f"{h['name']} had {a + c} {t[1]} and gave {c} of them to {f['name']}. "
            f"{cap(h['he'])} has {a + c} - {c} = {a} {t[1]} left. {t[3]}")


def inventory(s):
    h = person(s)
    items = s.some(THINGS + FRUIT, s.range(3, 6))
    counts = [s.range(2, 19) for _ in items]
    colours = [s.pick(COLOURS)[0] for _ in items]
    out = [s.pick([f"In the house of {h['full']} the {h['trade']}:", f"{h['full']}'s list:",
                   f"What {h['full']} packed for the journey to {s.pick(TOWNS)}:"])]
    out += [f"- {n} {c} {t[1]}" for n, c, t in zip(counts, colours, items)]
    i = s.below(len(items))
    out.append(s.pick([
        f"How many {items[i][1]}? {cap(number(counts[i]))}. Which colour? {cap(colours[i])}.",
        f"Total: {' + '.join(map(str, counts))} = {sum(counts)}.",
        f"There are {number(counts[i])} {items[i][1]}, all of them {colours[i]}.",
        f"First the {items[0][1]}, then the {items[1][1]}, last the {items[-1][1]}."]))
    return "\n".join(out)


def any_date(s):
    return datetime.date(2019, 1, 1) + datetime.timedelta(days=s.below(6 * 365))


def diary(s):
    h = person(s)
    d = any_date(s)
    out = [f"The diary of {h['full']}"]
    for _ in range(s.range(2, 3)):
        w = s.pick(WEATHER)
        f = person(s)
        t = s.pick(THINGS)
        out.append(f"{d.isoformat()} ({DAYS[d.weekday()]}) {w[2]} " + s.pick([
            f"A {w[0]} day. I ate {h['food']} and played the {h['plays']}.",
            f"Today it was {w[0]}. {f['full']} the {f['trade']} came from {f['town']} and brought me {an(t[0])}.",
            f"It was {w[0]}, so {h['pet_name']} stayed in the house. {cap(s.pick(MANNERS))} I {s.pick(VERBS)[0]} my {t[0]}.",
            f"{cap(w[0])} again. I wrote to {h['friend']} about {s.pick(VIRTUES)}."]))
        d += datetime.timedelta(days=s.range(1, 3))
    return "\n".join(out)


def entry(s):
    h = person(s)
    parts = [
        f"{h['full']} was born on {h['day']} {h['month']} {h['year']} and lives in {h['town']}, at number {h['house']}.",
        f"{cap(h['he'])} works as a {h['trade']}.",
        f"{cap(h['his'])} {h['pet']} is called {h['pet_name']}.",
        f"{cap(h['he'])} plays the {h['plays']} and likes {h['food']}.",
        f"{cap(h['his'])} best friend is {h['friend']}, the {P[h['friend']]['trade']}.",
    ]
    return parts[0] + " " + " ".join(x for x in parts[1:] if s.chance(.7))


def town_entry(s):
    name = s.pick(TOWNS)
    t = T[name]
    parts = [
        f"{name} was founded in {t['year']} on the river {t['river']}.",
        f"It is {t['miles'][0]} miles from {t['near'][0]} and {t['miles'][1]} miles from {t['near'][1]}.",
        f"The mayor of {name} is {t['mayor']}, a {P[t['mayor']]['trade']}.",
        f"Its tower has {number(t['bells'])} bells, and its people make {t['made']}.",
    ]
    return " ".join([parts[0]] + [x for x in parts[1:] if s.chance(.75)])


def letter(s):
    h = person(s)
    f = P[h["friend"]]
    d = any_date(s)
    t = s.pick(THINGS)
    colour = s.pick(COLOURS)[0]
    body = [f"Thank you for the {colour} {t[0]}.",
            s.pick([f"It is as {s.pick(ADJECTIVES)} as the one in {f['town']}.", f"I keep it {s.pick(PLACES)[0]}.",
                    f"{h['pet_name']} the {h['pet']} likes it too."]),
            s.pick([f"Here in {h['town']} it is {s.pick(WEATHER)[0]}.", f"How is {f['pet_name']}, your {f['pet']}?",
                    f"Do you still play the {f['plays']}?", f"Next week I will cook {f['food']} for you."]),
            s.pick([f"Next year I will send you {an(colour + ' ' + t[0])} of my own.",
                    f"Please come on {s.pick(DAYS)}.", f"I think often about {s.pick(VIRTUES)}."])]
    return (f"{h['town']}, {d.day} {MONTHS[d.month - 1]} {d.year}\nDear {f['name']},\n{' '.join(body)}\n"
            f"Your friend,\n{h['full']}")


def code(s):
    kind = s.below(4)
    if kind == 0:
        names = [t[0] for t in s.some(FRUIT + THINGS, 3)]
        v = [s.range(1, 40) for _ in names]
        return "\n".join(
            [f"let {n} = {x};" for n, x in zip(names, v)] +
            [f"let total = {' + '.join(names)};", f"print(total); // {sum(v)}",
             f"print({names[1]} + {names[2]}); // {v[1] + v[2]}"])
    if kind == 1:
        a, n = s.range(1, 9), s.range(3, 5)
        b = s.range(2, 9)
        return (f"for (i = 0; i < {n}; i++) {{\n    print({a} + {b} * i);\n}}\n// " +
                " ".join(str(a + b * i) for i in range(n)))
    if kind == 2:
        h = person(s)
        return (f"{{\n  \"name\": \"{h['full']}\",\n  \"town\": \"{h['town']}\",\n  \"born\": {h['year']},\n"
                f"  \"pet\": [\"{h['pet']}\", \"{h['pet_name']}\"]\n}}")
    words = [t[0] for t in s.some(FRUIT + THINGS, s.range(3, 5))]
    if s.chance(.5):
        return f"sorted({', '.join(words)})\n-> {', '.join(sorted(words))}"
    return f"reversed({', '.join(words)})\n-> {', '.join(reversed(words))}"


def table(s):
    if s.chance(.5):
        items = s.some(FRUIT + THINGS, s.range(3, 4))
        out = ["| item | count | price | sum |", "|---|---|---|---|"]
        total = 0
        for t in items:
            n, price = s.range(2, 9), W[t[0]]["price"]
            total += n * price
            out.append(f"| {t[0]} | {n} | {price} | {n * price} |")
        return "\n".join(out + [f"| total | | | {total} |"])
    out = ["code,item,material,shelf"]
    for t in s.some(THINGS, s.range(3, 5)):
        w = W[t[0]]
        out.append(f"{w['code']},{t[0]},{w['material']},{w['shelf']}")
    return "\n".join(out)


def proverb(s):
    a, b = s.some(VIRTUES, 2)
    n, m = s.some(NATURE, 2)
    return s.pick([
        f"{cap(a)} is like a {n}: without {b} it is only a {m}.",
        f"Where there is {a}, there is {b}; where there is a {n}, there is a {m}.",
        f"The {n} does not ask the {m} for {a}.",
        f"Better {a} in the {n} than {b} in the {m}.",
        f"Who plants {a} by the {n} will find {b} by the {m}."])


def alphabet(s):
    i, n = s.below(20), s.range(4, 7)
    step = s.range(1, 9)
    start = s.range(1, 50)
    return s.pick([
        " ".join(chr(97 + i + k) for k in range(min(n, 26 - i))),
        ", ".join(str(start + step * k) for k in range(n)) + ".",
        " ".join(DAYS[(i + k) % 7] for k in range(n)),
        " ".join(MONTHS[(i + k) % 12] for k in range(n)),
        "; ".join(f"{W[t[0]]['price']} for {an(t[0])}" for t in s.some(THINGS, 4)) + "."])


def game(s):
    """Things change places; the last line asks for one of them."""
    who = [x[0] for x in s.some(PEOPLE, 3)]
    have = [t[0] for t in s.some(THINGS, 3)]
    out = [" ".join(f"{w} has the {t}." for w, t in zip(who, have))]
    for _ in range(s.range(1, 3)):
        i, j = s.some(range(3), 2)
        have[i], have[j] = have[j], have[i]
        out.append(f"{who[i]} and {who[j]} swap.")
    i = s.below(3)
    out.append(f"Now {who[i]} has the {have[i]}.")
    return " ".join(out)


# ------------------------------------------------------------- Korean pieces


def ko_person(s):
    return K[s.skewed(KO_NAMES)]


def ko_story(s):
    h = ko_person(s)
    f = K[h["friend"]]
    t = s.pick(THINGS)[2]
    colour = s.pick(KO_ADJECTIVES) + " " + s.pick(COLOURS)[1]
    place = s.pick(PLACES)[1]
    goal = s.pick(KO_TOWNS)
    n = s.range(2, 9)
    days = f"{n}일"
    out = [s.pick([
        f"{p(h['full'], '은/는')} {h['town']}에 사는 {p(h['trade'], '이었다/였다')}.",
        f"옛날 {h['town']}에 {p(h['full'], '이라는/라는')} {p(h['trade'], '이/가')} 살았다."])]
    out.append(s.pick([
        f"어느 날 {p(h['name'], '은/는')} {place}에서 {colour} {p(t, '을/를')} 찾았다.",
        f"{p(h['name'], '은/는')} {colour} {p(t, '을/를')} {place}에 숨겼다."]))
    if s.chance(.6):
        out.append(ko_filler(s))
    out.append(s.pick([
        f"{h['pet']} {p(h['pet_name'], '과/와')} 함께 {days} 동안 걸어 {p(goal, '으로/로')} 갔다.",
        f"{p(h['name'], '은/는')} {h['pet']} {p(h['pet_name'], '을/를')} 데리고 {goal}까지 {days} 동안 걸었다."]))
    out.append(s.pick([
        f"{goal}에서 {h['name']}의 친구 {p(f['full'], '을/를')} 만났다. {p(f['name'], '은/는')} {p(f['trade'], '이다/다')}.",
        f"거기서 {f['town']}에서 온 {f['trade']} {p(f['full'], '을/를')} 만났다."]))
    if s.chance(.5):
        out.append(ko_filler(s))
    out.append(s.pick([
        f"\"{p(t, '은/는')} 어디 있니?\" {p(f['name'], '이/가')} 물었다. \"{place}에 있어.\" {p(h['name'], '이/가')} 대답했다.",
        f"{p(f['name'], '은/는')} {colour} {t}에 대해 물었고, {p(h['name'], '은/는')} 그것이 {place}에 있다고 말했다."]))
    v = s.pick(KO_VERBS)
    out.append(s.pick([
        f"마침내 {p(h['name'], '은/는')} {colour} {p(t, '을/를')} {s.pick(KO_MANNERS)} {v[0]}.",
        f"{days} 뒤에 두 사람은 {p(h['town'], '으로/로')} 돌아와 {p(h['food'], '을/를')} 먹었다.",
        f"{p(h['name'], '은/는')} {colour} {p(t, '을/를')} {f['name']}에게 주었다."]))
    return " ".join(out)


def ko_fact(s, h):
    n = h["full"]
    return s.pick([
        (f"{p(n, '은/는')} 어디에 살아요?", f"{h['town']} {h['floor']}층에 살아요."),
        (f"{n}의 직업이 뭐예요?", f"{p(h['trade'], '이에요/예요')}."),
        (f"{p(n, '은/는')} 어떤 동물을 길러요?", f"{p(h['pet_name'], '이라는/라는')} {p(h['pet'], '을/를')} 길러요."),
        (f"{p(n, '은/는')} 언제 태어났어요?", f"{h['year']}년 {h['month']}월 {h['day']}일에 태어났어요."),
        (f"{p(n, '은/는')} 무엇을 좋아해요?", f"{p(h['food'], '을/를')} 좋아해요."),
        (f"{n}의 친구는 누구예요?", f"{p(h['friend'], '이에요/예요')}."),
        (f"{p(n, '은/는')} 어떤 악기를 연주해요?", f"{p(h['plays'], '을/를')} 연주해요."),
    ])


def ko_dialogue(s):
    a, b = s.some(KO_PEOPLE, 2)
    call = p(b, "아/야")
    hello, reply = s.pick([(f"{call}, 안녕?", "응, 안녕!"), (f"{call}, 하나 물어봐도 돼?", "그래, 물어봐."),
                           ("안녕하세요!", "안녕하세요. 반가워요.")])
    lines = [(a, hello), (b, reply)]
    h = ko_person(s)
    for _ in range(s.range(1, 3)):
        q, ans = ko_fact(s, h)
        lines += [(a, q), (b, ans)]
        if s.chance(.3):
            h = ko_person(s)
    lines.append((a, s.pick(["고마워요!", "몰랐어요.", f"{call}, 잘 가!"])))
    return wrap_dialogue(s, lines)


def ko_entry(s):
    h = ko_person(s)
    parts = [
        f"{p(h['full'], '은/는')} {h['year']}년 {h['month']}월 {h['day']}일에 태어나 지금은 {h['town']}에 산다.",
        f"직업은 {p(h['trade'], '이다/다')}.",
        f"{p(h['pet_name'], '이라는/라는')} {p(h['pet'], '을/를')} 기른다.",
        f"{p(h['food'], '을/를')} 좋아하고 {p(h['plays'], '을/를')} 연주한다.",
        f"가장 친한 친구는 {K[h['friend']]['town']}의 {p(h['friend'], '이다/다')}.",
    ]
    return parts[0] + " " + " ".join(x for x in parts[1:] if s.chance(.7))


def ko_town(s):
    name = s.pick(KO_TOWNS)
    t = KT[name]
    parts = [
        f"{p(name, '은/는')} {t['near']}에서 {t['km']}킬로미터 떨어진 마을이다.",
        f"집은 모두 {t['homes']}채이다.",
        f"이장은 {K[t['head']]['trade']} {p(t['head'], '이다/다')}.",
        f"{name} 사람들은 {p(t['made'], '을/를')} 만든다.",
    ]
    return " ".join([parts[0]] + [x for x in parts[1:] if s.chance(.75)])


def ko_arithmetic(s):
    out = []
    for _ in range(s.range(2, 4)):
        a, b = s.range(2, 60), s.range(2, 39)
        k = s.below(3)
        if k == 0:
            out.append(f"{a} 더하기 {p(str(b), '은/는')} {p(str(a + b), '이다/다')}.")
        elif k == 1:
            out.append(f"{a + b}에서 {p(str(b), '을/를')} 빼면 {p(str(a), '이다/다')}.")
        else:
            t = s.pick(FRUIT)
            a, b = s.range(1, 5), s.range(1, 5)
            out.append(f"{t[2]} {KO_COUNT[a]} 개에 {KO_COUNT[b]} 개를 더하면 {KO_COUNT[a + b]} 개가 된다. {t[3]}")
    return "\n".join(out)


def ko_receipt(s):
    out = [f"[{s.pick(KO_TOWNS)} 가게]"]
    total = 0
    for t in s.some(FRUIT + THINGS, s.range(2, 4)):
        n, won = s.range(1, 9), W[t[0]]["won"]
        total += n * won
        out.append(f"{t[2]} {won}원 x {n}개 = {n * won}원")
    return "\n".join(out + [f"합계 {total}원"])


def ko_inventory(s):
    h = ko_person(s)
    items = s.some(THINGS + FRUIT, s.range(3, 5))
    counts = [s.range(1, 9) for _ in items]
    colours = [s.pick(COLOURS)[1] for _ in items]
    out = [f"{h['trade']} {h['full']}의 가방:"]
    out += [f"- {c} {t[2]} {KO_COUNT[n]} 개" for n, c, t in zip(counts, colours, items)]
    i = s.below(len(items))
    out.append(s.pick([
        f"{p(items[i][2], '은/는')} 몇 개? {p(KO_COUNT_N[counts[i]], '이다/다')}.",
        f"{p(items[i][2], '은/는')} 무슨 색? {colours[i]} 것이다.",
        f"모두 {sum(counts)}개이다."]))
    return "\n".join(out)


def ko_diary(s):
    h = ko_person(s)
    d = any_date(s)
    out = [f"{h['full']}의 일기"]
    for _ in range(s.range(2, 3)):
        w = s.pick(WEATHER)
        f = ko_person(s)
        t = s.pick(THINGS)[2]
        out.append(f"{d.year}년 {d.month}월 {d.day}일 {KO_DAYS[d.weekday()]}요일 {w[1]} {w[2]} " + s.pick([
            f"{p(h['food'], '을/를')} 먹고 {p(h['plays'], '을/를')} 연주했다.",
            f"{f['town']}에서 {f['trade']} {p(f['full'], '이/가')} 와서 {p(t, '을/를')} 주었다.",
            f"{p(h['pet_name'], '은/는')} 하루 종일 집에 있었다. 나는 {p(t, '을/를')} {s.pick(KO_MANNERS)} {s.pick(KO_VERBS)[0]}.",
            f"{h['friend']}에게 편지를 썼다. {ko_filler(s)}"]))
        d += datetime.timedelta(days=s.range(1, 3))
    return "\n".join(out)


def ko_letter(s):
    h = ko_person(s)
    f = K[h["friend"]]
    d = any_date(s)
    t = s.pick(THINGS)[2]
    colour = s.pick(COLOURS)[1]
    body = [f"보내 준 {colour} {p(t, '을/를')} 잘 받았어.",
            s.pick([f"지금 그 {p(t, '은/는')} {s.pick(PLACES)[1]}에 있어.", f"{h['pet']} {h['pet_name']}도 좋아해."]),
            s.pick([f"{f['pet']} {p(f['pet_name'], '은/는')} 잘 있니?", f"요즘도 {p(f['plays'], '을/를')} 연주하니?",
                    f"다음에 {p(f['food'], '을/를')} 해 줄게.", ko_filler(s)])]
    return (f"{f['name']}에게\n{' '.join(body)}\n{d.year}년 {d.month}월 {d.day}일\n"
            f"{h['town']}에서 {p(h['full'], '이/가')}")


def ko_chain(s):
    h = ko_person(s)
    t = s.pick(THINGS)[2]
    a, b = s.some(KO_VERBS, 2)
    return (f"{p(h['name'], '은/는')} {p(t, '을/를')} {s.pick(KO_MANNERS)} {a[1]}, 다시 {b[0]}. "
            f"그래서 {p(t, '은/는')} 이제 {s.pick(PLACES)[1]}에 있다.")


# -------------------------------------------------------------- mixed pieces


def dictionary(s):
    sign = s.pick([" = ", " — ", ": ", " → "])
    items = s.some(THINGS + FRUIT, s.range(3, 6))
    if s.chance(.5):
        return "\n".join(f"{t[0]}{sign}{t[2]} {t[3]}" for t in items)
    return "\n".join(f"{t[2]}{sign}{t[0]} {t[3]}" for t in items)


def emoji_line(s):
    k = s.below(3)
    if k == 0:
        m = [s.pick(MOODS) for _ in range(3)]
        return " ".join(f"{person(s)['name']} is {x[0]} {x[1]}." for x in m)
    if k == 1:
        items = s.some(FRUIT, 3)
        n = [s.range(1, 4) for _ in items]
        return " ".join(t[3] * c for t, c in zip(items, n)) + " = " + ", ".join(
            f"{number(c)} {t[0] if c == 1 else t[1]}" for t, c in zip(items, n))
    w = [s.pick(WEATHER) for _ in range(4)]
    return "".join(x[2] for x in w) + ": " + " → ".join(x[s.chance(.5)] for x in w)


PIECES = [(6, story), (4, dialogue), (2, arithmetic), (2, word_problem), (3, inventory),
          (2, diary), (3, entry), (2, town_entry), (2, letter), (3, code), (3, table),
          (1, proverb), (1, alphabet), (2, game),
          (5, ko_story), (4, ko_dialogue), (3, ko_entry), (1, ko_town), (2, ko_arithmetic),
          (2, ko_receipt), (2, ko_inventory), (2, ko_diary), (2, ko_letter), (1, ko_chain),
          (2, dictionary), (1, emoji_line)]
WHEEL = [f for n, f in PIECES for _ in range(n)]


def piece(s):
    return s.pick(WHEEL)(s)


def page(s):
    """A few pieces, separated by empty lines."""
    return "\n\n".join(piece(s) for _ in range(s.range(2, 12)))


def chat(s):
    """A list of (role, text) turns on the facts of the world."""
    turns = []
    for _ in range(s.range(1, 3)):
        if s.chance(.5):
            q, a = fact_en(s, person(s))
        else:
            q, a = ko_fact(s, ko_person(s))
        turns += [("user", q), ("assistant", a)]
    return turns


def generate(seed, size):
    """Text of about `size` bytes: whole pieces, separated by empty lines."""
    s = Source(seed)
    parts, total = [], 0
    while total < size:
        parts.append(piece(s))
        total += len(parts[-1].encode()) + 2
    return "\n\n".join(parts) + "\n"


def main():
    ap = argparse.ArgumentParser(description="write text for training and testing tiny models")
    ap.add_argument("--seed", type=int, required=True)
    ap.add_argument("--bytes", type=int, required=True, help="stop after this many bytes")
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    with open(a.out, "w", encoding="utf-8", newline="\n") as f:
        f.write(generate(a.seed, a.bytes))


if __name__ == "__main__":
    main()
