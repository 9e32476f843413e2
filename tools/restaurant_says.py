"""What the tools of ``tools/restaurant.py`` tell the model, by name, in English and in Spanish."""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, Mapping[str, str]] = {
    "placed": {
        "en": "The order is placed. Its number is {number} and the total is {total}.",
        "es": "El pedido está hecho. Su número es {number} y el total es de {total}.",
    },
    "offer_text": {
        "en": "Would you like the confirmation as a text message?",
        "es": "¿Desea la confirmación por mensaje de texto?",
    },
    "placed_before": {
        "en": "This order was placed before: its number is {number} and the total is {total}. It was not placed a "
        "second time.",
        "es": "Este pedido ya estaba hecho: su número es {number} y el total es de {total}. No se ha hecho por segunda "
        "vez.",
    },
    "empty": {
        "en": "The order is empty. Ask the caller what they would like.",
        "es": "El pedido está vacío. Pregunte qué desea la persona.",
    },
    "too_long": {
        "en": "An order has {most} lines at most. Offer to connect the caller to a person.",
        "es": "Un pedido tiene como máximo {most} líneas. Ofrezca pasar la llamada a alguien.",
    },
    "wrong_sum": {
        "en": "The amounts do not add up, so nothing was ordered. Right is {amounts}. The right total is {total}. "
        "Tell the caller the right total and place the order once they agree.",
        "es": "Los importes no cuadran, así que no se ha pedido nada. Lo correcto es {amounts}. El total correcto es "
        "{total}. Diga el total correcto y haga el pedido cuando la persona esté de acuerdo.",
    },
    "no_address": {
        "en": "A delivery needs an address. Ask the caller: what street and number, and in which town?",
        "es": "Para la entrega a domicilio hace falta la dirección. Pregunte: ¿qué calle y número, y en qué ciudad?",
    },
    "too_many": {
        "en": "Nothing was ordered: this caller has too many orders already. Offer to connect them to a person.",
        "es": "No se ha pedido nada: esta persona ya tiene demasiados pedidos. Ofrezca pasarle con alguien.",
    },
    "in_doubt": {
        "en": "It is not certain that the order was stored. Call place_order once more with the same arguments: the "
        "same order is never stored twice. If that fails too, tell the caller that it could not be placed for certain.",
        "es": "No es seguro que el pedido se haya guardado. Llame otra vez a place_order con los mismos argumentos: "
        "el mismo pedido nunca se guarda dos veces. Si vuelve a fallar, diga que no se ha podido hacer con seguridad.",
    },
    "no_menu": {
        "en": "There is no menu here, so nothing can be ordered. Tell the caller.",
        "es": "Aquí no hay carta, así que no se puede pedir nada. Dígaselo a la persona.",
    },
    "no_order_yet": {
        "en": "There is no order yet. A {kind} usually takes between {least} and {most}.",
        "es": "Todavía no hay ningún pedido. Un pedido {kind} suele tardar entre {least} y {most}.",
    },
    "other_kind": {
        "en": "Order {number} is a {kind}: use {tool}.",
        "es": "El pedido {number} es {kind}: use {tool}.",
    },
    "unknown_number": {
        "en": "There is no order {number} of this caller. There is {numbers}. Ask which one is meant.",
        "es": "Esta persona no tiene ningún pedido {number}. Tiene {numbers}. Pregunte cuál es.",
    },
    "nothing_to_confirm": {
        "en": "There is no order to confirm, so nothing was sent. Tell the caller, and offer to take one.",
        "es": "No hay ningún pedido que confirmar, así que no se ha enviado nada. Dígalo y ofrezca hacer uno.",
    },
    "text_sent": {"en": "The text message is on its way.", "es": "El mensaje de texto va en camino."},
    "mail_sent": {"en": "The e-mail is on its way.", "es": "El correo electrónico va en camino."},
    "cannot_send": {
        "en": "Messages cannot be sent from here. Do not promise any: tell the caller, and say to them what they "
        "need to know.",
        "es": "Desde aquí no se pueden enviar mensajes. No prometa ninguno: dígalo, y dé de palabra la información "
        "necesaria.",
    },
    "which_address": {
        "en": "No e-mail address is on file. Ask the caller: which address may it be sent to?",
        "es": "No hay ninguna dirección de correo guardada. Pregunte: ¿a qué dirección se puede enviar?",
    },
    "bad_address": {
        "en": "That is no complete e-mail address. Ask the caller to spell it, and repeat it to them.",
        "es": "Esa no es una dirección de correo completa. Pida que la deletreen y repítala.",
    },
    "not_looked_up": {
        "en": "This could not be looked up just now, and nothing was done. Tell the caller, and try again in a moment.",
        "es": "Ahora mismo no se ha podido consultar, y no se ha hecho nada. Dígalo y vuelva a intentarlo en un "
        "momento.",
    },
}


def tell(name: str, language: str, **values: object) -> str:
    """The sentence; ``language`` is ``en`` or ``es``."""
    return SENTENCES[name][language].format(**values)
