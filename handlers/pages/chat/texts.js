// What the chat says itself, by language, in the order of these names. A data attribute of the same name comes first.

const NAMES = "title open close greeting placeholder send stop fresh retry typing offline lost refused elsewhere here failed busy".split(" ");

const TEXTS = {
  en: `Chat
Open chat
Close chat
Hello! How can we help?
Write a message
Send
Stop
New conversation
Try again
Writing an answer
Offline. Messages are sent later.
Connecting…
Chat is not available.
The chat is open elsewhere.
Continue here
Something went wrong.
Please wait a moment.`,
  es: `Chat
Abrir chat
Cerrar chat
¡Hola! ¿En qué podemos ayudar?
Escriba un mensaje
Enviar
Detener
Nueva conversación
Reintentar
Escribiendo una respuesta
Sin conexión. Se enviará más tarde.
Conectando…
El chat no está disponible.
El chat está abierto en otro lugar.
Continuar aquí
Algo salió mal.
Espere un momento.`,
  de: `Chat
Chat öffnen
Chat schließen
Hallo! Wie können wir helfen?
Nachricht schreiben
Senden
Anhalten
Neues Gespräch
Noch einmal
Antwort wird geschrieben
Offline. Gesendet wird später.
Verbinden…
Der Chat ist nicht verfügbar.
Der Chat ist woanders offen.
Hier fortsetzen
Etwas ging schief.
Bitte einen Moment warten.`,
  fr: `Chat
Ouvrir le chat
Fermer le chat
Bonjour ! Comment vous aider ?
Écrire un message
Envoyer
Arrêter
Nouvelle conversation
Réessayer
Réponse en cours
Hors ligne. L’envoi se fera plus tard.
Connexion…
Le chat n’est pas disponible.
Le chat est ouvert ailleurs.
Continuer ici
Une erreur est survenue.
Patientez un instant.`,
  ar: `محادثة
فتح المحادثة
إغلاق المحادثة
مرحبًا! كيف يمكننا مساعدتك؟
اكتب رسالة
إرسال
إيقاف
محادثة جديدة
إعادة المحاولة
تُكتب الإجابة الآن
غير متصل. ستُرسل الرسائل لاحقًا.
جارٍ الاتصال…
المحادثة غير متاحة.
المحادثة مفتوحة في مكان آخر.
المتابعة هنا
حدث خطأ ما.
انتظر لحظة من فضلك.`,
};

const texts = (lang) => Object.fromEntries(TEXTS[lang].split("\n").map((text, at) => [NAMES[at], text]));
