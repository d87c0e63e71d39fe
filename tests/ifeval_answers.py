"""Builds a text that follows an instruction of IFEval, and one that does not."""

from __future__ import annotations

from typing import Any

PLAIN = "The weather is nice today and we will walk along the river with our old friends until the evening comes."
LANGUAGES = {  # Of the published data, and some neighbors.
    "ar": "يذهب الأطفال إلى المدرسة كل صباح ويتعلمون القراءة والكتابة مع أصدقائهم في الفصل.",
    "bg": "Децата отиват на училище всяка сутрин и се учат да четат и пишат заедно със своите приятели.",
    "bn": "শিশুরা প্রতিদিন সকালে স্কুলে যায় এবং বন্ধুদের সাথে পড়তে ও লিখতে শেখে।",
    "de": "Die Kinder gehen jeden Morgen in die Schule und lernen dort mit ihren Freunden lesen und schreiben.",
    "fa": "بچه‌ها هر روز صبح به مدرسه می‌روند و همراه با دوستان خود خواندن و نوشتن را یاد می‌گیرند.",
    "fi": "Lapset menevät joka aamu kouluun ja oppivat siellä lukemaan ja kirjoittamaan ystäviensä kanssa.",
    "gu": "બાળકો દરરોજ સવારે શાળાએ જાય છે અને તેમના મિત્રો સાથે વાંચતા અને લખતા શીખે છે.",
    "hi": "बच्चे हर सुबह स्कूल जाते हैं और अपने दोस्तों के साथ पढ़ना और लिखना सीखते हैं।",
    "it": "I bambini vanno a scuola ogni mattina e imparano a leggere e a scrivere insieme ai loro amici.",
    "kn": "ಮಕ್ಕಳು ಪ್ರತಿದಿನ ಬೆಳಿಗ್ಗೆ ಶಾಲೆಗೆ ಹೋಗುತ್ತಾರೆ ಮತ್ತು ತಮ್ಮ ಸ್ನೇಹಿತರೊಂದಿಗೆ ಓದಲು ಮತ್ತು ಬರೆಯಲು ಕಲಿಯುತ್ತಾರೆ.",
    "ko": "아이들은 매일 아침 학교에 가서 친구들과 함께 읽고 쓰는 법을 배웁니다.",
    "mr": "मुले दररोज सकाळी शाळेत जातात आणि आपल्या मित्रांसोबत वाचायला आणि लिहायला शिकतात.",
    "ne": "केटाकेटीहरू हरेक बिहान विद्यालय जान्छन् र आफ्ना साथीहरूसँग पढ्न र लेख्न सिक्छन्।",
    "pa": "ਬੱਚੇ ਹਰ ਸਵੇਰ ਸਕੂਲ ਜਾਂਦੇ ਹਨ ਅਤੇ ਆਪਣੇ ਦੋਸਤਾਂ ਨਾਲ ਪੜ੍ਹਨਾ ਅਤੇ ਲਿਖਣਾ ਸਿੱਖਦੇ ਹਨ।",
    "pt": "As crianças vão para a escola todas as manhãs e aprendem a ler e a escrever com os seus amigos.",
    "ru": "Дети каждое утро ходят в школу и учатся читать и писать вместе со своими друзьями.",
    "sw": "Watoto huenda shuleni kila asubuhi na hujifunza kusoma na kuandika pamoja na marafiki zao.",
    "ta": "குழந்தைகள் தினமும் காலையில் பள்ளிக்குச் சென்று தங்கள் நண்பர்களுடன் படிக்கவும் எழுதவும் கற்றுக்கொள்கிறார்கள்.",
    "te": "పిల్లలు ప్రతిరోజూ ఉదయం పాఠశాలకు వెళ్లి తమ స్నేహితులతో కలిసి చదవడం మరియు రాయడం నేర్చుకుంటారు.",
    "th": "เด็กๆ ไปโรงเรียนทุกเช้าและเรียนรู้ที่จะอ่านและเขียนกับเพื่อนของพวกเขา",
    "ur": "بچے ہر صبح اسکول جاتے ہیں اور اپنے دوستوں کے ساتھ پڑھنا اور لکھنا سیکھتے ہیں۔",
    "vi": "Trẻ em đến trường mỗi buổi sáng và học đọc học viết cùng với bạn bè của mình.",
    "en": PLAIN,
}


def built(instruction: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """A text that follows the instruction, and one that does not."""
    a = {name: value for name, value in arguments.items() if value is not None}

    def counted(make, n, relation):
        """`make(k)` has k of what is counted."""
        return (make(n - 1), make(n)) if relation == "less than" else (make(n), make(n - 1))

    match instruction.split(":")[1]:
        case "existence":
            words = a["keywords"]
            return f"We speak of {' and '.join(words).upper()} here.", f"Only {' '.join(words[1:])} 0."
        case "frequency":
            return counted(lambda k: "So, " + f"{a['keyword']} 0 " * k + "1.", a["frequency"], a["relation"])
        case "forbidden_words":
            words = a["forbidden_words"]
            return "0 " + " ".join(f"{w}x x{w}" for w in words), f"0 {words[-1].upper()}."
        case "letter_frequency":
            return counted(lambda k: "0" + a["letter"] * k, a["let_frequency"], a["let_relation"])
        case "response_language":
            other = "de" if a["language"] != "de" else "it"
            return LANGUAGES[a["language"]], LANGUAGES[other]
        case "number_sentences":
            return counted(lambda k: "Dr. Smith paid 3.50 here. " * k or " ", a["num_sentences"], a["relation"])
        case "number_words":
            return counted(lambda k: "word-" * k or "-", a["num_words"], a["relation"])
        case "number_paragraphs":
            n = a["num_paragraphs"]
            return "\n***\n".join(["One."] * n), "\n***\n".join(["One."] * (n + 1))
        case "nth_paragraph_first_word":
            parts = ["Something else."] * a["num_paragraphs"]
            good = [*parts]
            good[a["nth_paragraph"] - 1] = f'"{a["first_word"].capitalize()}, it is.'
            return "\n\n".join(good), "\n\n".join(parts)
        case "number_placeholders":
            n = a["num_placeholders"]
            return "[name] " * n, "[name] " * (n - 1) + "[name"
        case "postscript":
            return f"Yes.\n\n{a['postscript_marker']} And no.", "Yes. PS: And no."
        case "number_bullet_lists":
            n = a["num_bullets"]
            return "Here:\n" + "* one\n" * (n - 1) + "  - two", "* one\n" * (n + 3)
        case "constrained_response":
            return "My answer is maybe.", "My answer is perhaps."
        case "number_highlighted_sections":
            n = a["num_highlights"]
            return "*one* and\n" * n, "*one* and\n" * (n - 1) + "* * and **"
        case "multiple_sections":
            n, name = a["num_sections"], a["section_spliter"]
            return "".join(f"{name} {k}\nText.\n" for k in range(n)), f"{name}\n" * (n + 1) + f"{name} 1"
        case "json_format":
            return '```json\n{"a": [1, 2, null]}\n```', 'Here it is: {"a": 1}'
        case "title":
            return "<<A poem>>\nText.", "<< >>\nText. <A poem>"
        case "two_responses":
            return "One.\n******\nTwo.", "One.\n******\nOne."
        case "repeat_prompt":
            return a["prompt_to_repeat"] + "\nYes.", "Sure. " + a["prompt_to_repeat"]
        case "end_checker":
            return f'Text. {a["end_phrase"]}"\n', f"{a['end_phrase']} Text"
        case "quotation":
            return f'"{PLAIN}"', f'"{PLAIN}" he said'
        case "english_capital":
            return PLAIN.upper(), PLAIN
        case "english_lowercase":
            return PLAIN.lower(), PLAIN
        case "capital_word_frequency":
            return counted(lambda k: "and NASA " * k + "0.", a["capital_frequency"], a["capital_relation"])
        case "no_comma":
            return "One; two.", "One, two."
    raise LookupError(instruction)
