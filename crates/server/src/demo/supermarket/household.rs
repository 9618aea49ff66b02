//! Goods for the house, the body and the pets.

use crate::demo::assortment::{Category, Shelf, lines};

pub const CLEANING: Shelf = Shelf {
    category: Category {
        name: "Aseo del hogar",
        description: "Detergentes, limpiadores, papel e implementos de aseo.",
    },
    code: "ASE",
    count: 90,
    bar_coded: true,
    lines: lines! {
        "unit" "Detergente en polvo" ["floral", "limón", "bicarbonato" + 5, "ropa de color" + 8]
            of ["Brisa Clara", "Blancanube"] at ["500 g" 4_700, "1 kg" 8_900, "2 kg" 17_000]:
            "Detergente para lavar a mano y a máquina";
        "unit" "Detergente líquido" ["floral", "bebé" + 12, "ropa oscura" + 8]
            of ["Brisa Clara"] at ["1 L" 12_400, "3 L" 33_600]: "Detergente líquido concentrado";
        "unit" "Suavizante" ["floral", "primaveral", "bebé" + 6] of ["Brisa Clara", "Blancanube"]
            at ["400 ml" 3_600, "1 L" 8_100, "2,8 L" 20_300]: "Suavizante para la ropa";
        "unit" "Jabón en barra" ["azul", "blanco", "con coco" + 8] of ["Brisa Clara"]
            at ["250 g" 2_600]: "Jabón para lavar ropa";
        "unit" "Blanqueador" ["tradicional", "con aroma a limón" + 8] of ["Blancanube"]
            at ["500 ml" 1_700, "1 L" 3_000, "3,8 L" 10_300]: "Hipoclorito desinfectante";
        "unit" "Lavaloza" ["en crema limón", "en crema manzana"] of ["Brisa Clara"]
            at ["250 g" 3_300, "500 g" 5_900, "1 kg" 10_600]: "Jabón arrancagrasa en crema";
        "unit" "Lavaloza líquido" ["limón", "uva", "avena y aloe" + 6] of ["Brisa Clara"]
            at ["500 ml" 6_400, "1 L" 11_400]: "Jabón líquido arrancagrasa";
        "unit" "Limpiapisos" ["lavanda", "pino", "canela", "bicarbonato y limón" + 5]
            of ["Brisa Clara", "Blancanube"] at ["1 L" 5_100, "2 L" 9_300]:
            "Limpiador desinfectante para pisos";
        "unit" "Limpiador" ["de vidrios", "de cocina" + 14, "de baños" + 12, "multiusos"]
            of ["Brisa Clara"] at ["500 ml" 7_100]: "Limpiador con atomizador";
        "unit" "Ambientador" ["lavanda", "vainilla", "bambú" + 3] of ["Brisa Clara"]
            at ["360 ml" 9_800]: "Ambientador en aerosol";
        "unit" "Papel higiénico" ["doble hoja", "triple hoja" + 20] of ["Blancanube"]
            at ["4 rollos" 6_300, "12 rollos" 17_900, "24 rollos" 34_200]: "Papel higiénico suave";
        "unit" "Toallas de cocina" ["blancas", "decoradas" + 4] of ["Blancanube"]
            at ["1 rollo" 4_100, "3 rollos" 11_400]: "Toallas de papel absorbentes";
        "unit" "Servilletas" ["blancas", "dobladas" + 8] of ["Blancanube"]
            at ["100 unidades" 2_700, "300 unidades" 7_300]: "Servilletas de papel";
        "unit" "Bolsas de basura" ["negras", "blancas" + 4, "verdes" + 4] of ["Brisa Clara"]
            at ["10 unidades 55 x 60 cm" 2_900, "10 unidades 70 x 100 cm" 5_600]:
            "Bolsas resistentes para separar residuos";
        "unit" "" ["Esponja doble uso", "Paño absorbente" + 40, "Esponjilla metálica"]
            of ["Brisa Clara"] at ["1 unidad" 1_400, "3 unidades" 3_700]: "Implemento para la cocina";
        "unit" "" ["Escoba suave", "Trapero de hilaza" + 25, "Recogedor con mango" + 5,
            "Cepillo para piso" + 10, "Balde 10 L" + 20] of ["Brisa Clara"] at ["" 8_700]:
            "Implemento de aseo para el hogar";
        "unit" "Guantes de caucho" ["talla 7", "talla 8", "talla 9"] of ["Brisa Clara"]
            at ["1 par" 4_900]: "Guantes para oficios del hogar";
        "unit" "Insecticida" ["para voladores", "para rastreros" + 5] of ["Brisa Clara"]
            at ["360 ml" 12_600]: "Insecticida en aerosol";
    },
};

pub const PERSONAL_CARE: Shelf = Shelf {
    category: Category {
        name: "Cuidado personal y bebé",
        description: "Jabones, champú, higiene oral, pañales y cuidado de la piel.",
    },
    code: "PER",
    count: 80,
    bar_coded: true,
    lines: lines! {
        "unit" "Jabón de tocador" ["avena", "leche y miel", "antibacterial" + 8, "glicerina" + 5]
            of ["Rosal Vivo"] at ["110 g" 2_700]: "Jabón en barra para el cuerpo";
        "pack" "Jabón de tocador" ["avena", "leche y miel", "antibacterial" + 8] of ["Rosal Vivo"]
            at ["3 unidades de 110 g" 7_500]: "Jabón en barra, paquete ahorrador";
        "unit" "Jabón líquido para manos" ["lavanda", "antibacterial" + 4, "frutos rojos"]
            of ["Rosal Vivo"] at ["250 ml" 6_100, "1 L" 14_800]: "Jabón líquido con dosificador";
        "unit" "Champú" ["anticaspa" + 14, "control caída" + 18, "aloe vera", "keratina" + 12,
            "romero y quina" + 8] of ["Rosal Vivo"]
            at ["10 ml" 800, "340 ml" 13_400, "750 ml" 23_900]: "Champú para uso diario";
        "unit" "Acondicionador" ["aloe vera", "keratina" + 12, "romero y quina" + 8]
            of ["Rosal Vivo"] at ["340 ml" 13_900]: "Acondicionador para desenredar";
        "unit" "Crema de peinar" ["rizos", "liso" + 2] of ["Rosal Vivo"] at ["300 ml" 11_800]:
            "Crema para peinar sin enjuague";
        "unit" "Gel fijador" ["fuerte", "extrafuerte" + 5] of ["Rosal Vivo"] at ["250 g" 7_200]:
            "Gel para el cabello";
        "unit" "Crema dental" ["triple acción", "blanqueadora" + 18, "con hierbas" + 6]
            of ["Rosal Vivo"] at ["75 ml" 4_800, "150 ml" 8_900]: "Crema dental con flúor";
        "unit" "Crema dental" ["infantil"] of ["Rosal Vivo"] at ["50 g" 5_900]:
            "Crema dental para niños";
        "unit" "Cepillo de dientes" ["suave", "medio", "infantil" + 5] of ["Rosal Vivo"]
            at ["1 unidad" 4_200, "2 unidades" 7_600]: "Cepillo dental ergonómico";
        "unit" "Enjuague bucal" ["menta", "sin alcohol" + 6] of ["Rosal Vivo"]
            at ["250 ml" 8_900, "500 ml" 15_300]: "Enjuague para aliento fresco";
        "unit" "Desodorante" ["en barra dama", "en barra hombre", "en aerosol dama" + 22,
            "en aerosol hombre" + 22] of ["Rosal Vivo"] at ["50 g" 10_300]: "Desodorante de larga duración";
        "unit" "Crema corporal" ["avena", "almendras" + 4, "coco" + 3] of ["Rosal Vivo"]
            at ["200 ml" 8_600, "400 ml" 14_900]: "Crema humectante para el cuerpo";
        "unit" "Protector solar" ["FPS 50", "FPS 50 infantil" + 8] of ["Rosal Vivo"]
            at ["60 g" 24_900]: "Protección solar para rostro y cuerpo";
        "unit" "Máquina de afeitar" ["dos hojas", "tres hojas" + 70] of ["Rosal Vivo"]
            at ["1 unidad" 2_900, "3 unidades" 8_100]: "Máquina de afeitar desechable";
        "unit" "Toallas higiénicas" ["normales", "nocturnas" + 22, "invisibles" + 6]
            of ["Blancanube"] at ["10 unidades" 4_700, "30 unidades" 12_900]:
            "Toallas con alas de alta absorción";
        "unit" "Protectores diarios" ["sin aroma", "con aroma" + 2] of ["Blancanube"]
            at ["15 unidades" 3_100, "60 unidades" 9_900]: "Protectores suaves y delgados";
        "unit" "Pañales" ["etapa 1", "etapa 2" + 10, "etapa 3" + 22, "etapa 4" + 34, "etapa 5" + 46]
            of ["Blancanube"] at ["30 unidades" 19_800, "50 unidades" 31_900]:
            "Pañales con barreras antiescapes";
        "unit" "Pañitos húmedos" ["sin fragancia", "con aloe" + 4] of ["Blancanube"]
            at ["50 unidades" 4_900, "100 unidades" 8_700]: "Toallitas húmedas para la piel del bebé";
        "unit" "Crema antipañalitis" [""] of ["Blancanube"] at ["60 g" 9_900, "110 g" 16_400]:
            "Crema protectora con óxido de zinc";
        "unit" "Algodón" ["en motas", "en discos" + 15] of ["Blancanube"] at ["100 g" 4_600]:
            "Algodón suave e hidrófilo";
    },
};

pub const PETS: Shelf = Shelf {
    category: Category {
        name: "Mascotas",
        description: "Alimento, aseo y juguetes para perros y gatos.",
    },
    code: "MAS",
    count: 60,
    bar_coded: true,
    lines: lines! {
        "unit" "Alimento para perro" ["adulto raza pequeña" + 8, "adulto raza grande", "cachorro" + 14,
            "sénior" + 12] of ["Peludín", "Rabo Contento"]
            at ["1 kg" 9_300, "2 kg" 17_900, "8 kg" 66_500]: "Alimento seco completo para perros";
        "unit" "Alimento para" ["gato adulto", "gatito" + 12, "gato esterilizado" + 18]
            of ["Peludín", "Rabo Contento"] at ["500 g" 7_200, "1 kg" 13_600, "3 kg" 38_400]:
            "Alimento seco completo para gatos";
        "unit" "Alimento húmedo para perro" ["de pollo", "de carne"] of ["Peludín", "Rabo Contento"]
            at ["100 g" 3_100, "280 g" 6_900]: "Alimento húmedo en salsa para perros";
        "unit" "Alimento húmedo para gato" ["de atún" + 3, "de pollo", "de salmón" + 6]
            of ["Peludín"] at ["85 g" 3_000]: "Alimento húmedo en salsa para gatos";
        "unit" "Galletas para perro" ["de pollo", "de hígado", "de avena" + 4] of ["Rabo Contento"]
            at ["200 g" 5_800, "500 g" 12_700]: "Galletas horneadas para premiar";
        "unit" "Snack dental para perro" ["pequeño", "mediano" + 20, "grande" + 40]
            of ["Rabo Contento"] at ["7 unidades" 10_900]: "Barras que ayudan a limpiar los dientes";
        "unit" "Carnaza" ["en hueso", "en tiras" + 3] of ["Rabo Contento"] at ["3 unidades" 6_400]:
            "Carnaza natural para morder";
        "unit" "Arena para gato" ["sin aroma", "con lavanda" + 5] of ["Peludín"]
            at ["4 kg" 12_900, "10 kg" 29_500]: "Arena aglomerante";
        "unit" "Champú para perro" ["pelo claro", "pelo oscuro", "antipulgas" + 25]
            of ["Peludín"] at ["250 ml" 12_300]: "Champú suave para mascotas";
        "unit" "Tapetes absorbentes" ["60 x 60 cm", "60 x 90 cm" + 35] of ["Peludín"]
            at ["10 unidades" 13_800, "30 unidades" 37_900]: "Tapetes para el entrenamiento";
        "unit" "Bolsas para mascota" ["biodegradables"] of ["Rabo Contento"]
            at ["40 unidades" 5_900]: "Bolsas para recoger en el paseo";
        "unit" "" ["Pelota de caucho", "Cuerda para morder" + 20, "Ratón de tela"]
            of ["Rabo Contento"] at ["" 8_200]: "Juguete para mascotas";
        "unit" "Collar" ["pequeño", "mediano" + 15, "grande" + 30] of ["Peludín"] at ["" 10_900]:
            "Collar ajustable en nailon";
    },
};
